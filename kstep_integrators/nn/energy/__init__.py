"""Energy networks and their forces and Hessians."""
