"""What networks share: graphs, radial functions, neighbour lists."""
