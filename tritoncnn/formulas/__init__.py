"""What torch's ops mean in ours: one file per family, read by every front door (capture, functional)."""
