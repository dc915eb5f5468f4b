"""A demo in the browser, drawn from the tabs that plugins provide."""
