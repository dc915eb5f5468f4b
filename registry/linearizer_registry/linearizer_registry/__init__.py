"""The catalog: pretrained linearizers that ship with the package, each a folder in the layout of a Hub model repository."""
