"""What tasks of one kind have in common: loss, metrics, answers."""
