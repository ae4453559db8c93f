"""Surface `ecs`: GPU machines of EC2 behind Amazon ECS, and Fargate for tier `cpu`."""
