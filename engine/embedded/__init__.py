"""The embedded engine: runs the `local` stack and drills where no Pulumi CLI is installed.

It drives the same program through the SDK's mock-monitor interface, performs dynamic resources for real (check,
create, diff, update, replace, delete, read) and keeps its state in the format of `pulumi stack export`, so that a
stack can move to the Pulumi CLI and back. It never deploys to a cloud, and refuses by name what it doesn't honour.
"""
