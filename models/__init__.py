"""Plain torch modules, one file per system. Which task builds which of them stands in ``tritoncnn/tasks``."""
