"""Alembic's entry: always runs on the connection that `arena.store.migrate` hands over."""

from alembic import context

from arena.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=False,  # the caller's transaction covers the whole upgrade
)
context.run_migrations()
