"""One-step flow matching: many steps of a flow, linear in an induced space, collapsed into one operator."""
