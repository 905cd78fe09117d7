"""Recipe steps: what each kind of work does inside of an image."""
