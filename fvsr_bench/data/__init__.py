"""Datasets of face clips: stored (`store`), made from videos (`prepare`), read for training."""
