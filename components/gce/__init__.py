"""Surface `gce`: a virtual machine on Google Compute Engine that runs the benchmark's container and deletes itself."""
