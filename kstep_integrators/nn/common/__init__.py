"""Parts of all networks: graphs, edges, radial functions, attention, neighbour lists."""
