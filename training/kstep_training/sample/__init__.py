"""The stage ``sample``: independent labelled geometries of molecules and of clusters of them."""
