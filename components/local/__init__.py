"""Surface `local`: this machine, in a process of its own or in a container."""
