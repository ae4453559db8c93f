"""The engines that run gpubench's one Pulumi program.

`pulumi_cli` drives the Pulumi CLI, which runs every stack. `embedded` runs the `local` stack where no CLI is installed.
`choice` says which of the two runs a stack and why, and keeps a stack from having two masters.
"""
