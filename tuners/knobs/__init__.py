"""Each knob in one declaration: what it changes, when it is legal, and what shows that it acted."""
