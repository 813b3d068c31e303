"""J: how a state is advanced by k base steps without physics."""
