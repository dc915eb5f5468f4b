"""Datasets: the digits inside scikit-learn, MNIST from its idx files, a folder of pictures, arrays in npz files, pictures prepared once."""
