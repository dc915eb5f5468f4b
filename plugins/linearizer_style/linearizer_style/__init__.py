"""Modular style transfer: content maps that are shared, and one linear operator for each style.

- `linearizer_style.config`: options of the task, the data sets and the core
- `linearizer_style.pairs`, `linearizer_style.teacher_data`: pairs of pictures, from files or from teachers
- `linearizer_style.teachers`: what stylises pictures: networks, optimisation, any callable
- `linearizer_style.task`: the task ``style``
- `linearizer_style.mixing`: styles mixed, composed and undone as matrices
- `linearizer_style.cli`: ``linearizer style``
"""
