"""Labels of frames for networks that read an observable, and what is fitted to them."""
