"""The asset server: people, projects and roles in a database, and one store with its catalog behind each project.

It holds no bytes and no truth about assets: those lie in the buckets (design §4). ``app`` puts it together, ``access`` decides who
may do what, ``routes`` are thin over the modules beside them. Nothing here is imported by a client.
"""
