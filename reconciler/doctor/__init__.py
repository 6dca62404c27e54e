"""What `pressluft doctor` looks at: this machine and the nodes."""
