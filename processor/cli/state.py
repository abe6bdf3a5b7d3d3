"""`state` and `forget`: what is known of a person."""

from typing import Annotated

import typer

from processor.cli.ending import finish, settings_from
from processor.cli.options import DEFAULT, Config, Reveal
from processor.commands.forget import forget_person
from processor.commands.state import rebuild_state, show_person, verify_state

__all__ = ["forget", "state"]

state = typer.Typer(no_args_is_help=True, help="Look at what is known of persons.")

Person = Annotated[
    tuple[str, str],
    typer.Option("--person", metavar="NAMESPACE ID", prompt=False, help="Such as ECID and an id."),
]


@state.command("show")
def state_show(
    person: Person,
    config: Config = DEFAULT,
    *,
    changelog: Annotated[
        bool, typer.Option("--changelog", help="Read the topic instead of the local store.")
    ] = False,
    reveal: Reveal = False,
) -> None:
    """Show what is known of one person; what it says is blotted out unless revealed."""
    settings = settings_from(config)
    namespace, identity = person
    finish(lambda: show_person(settings, namespace, identity, reveal=reveal, changelog=changelog))


@state.command("verify")
def state_verify(config: Config = DEFAULT) -> None:
    """Hold the local store against the changelog topic."""
    settings = settings_from(config)
    finish(lambda: verify_state(settings))


@state.command("rebuild")
def state_rebuild(config: Config = DEFAULT) -> None:
    """Drop the local store; the next start restores it from the changelog topic."""
    settings = settings_from(config)
    finish(lambda: rebuild_state(settings))


def forget(person: Person, config: Config = DEFAULT) -> None:
    """Erase what is known of one person, in the local store and in the changelog topic."""
    settings = settings_from(config)
    namespace, identity = person
    finish(lambda: forget_person(settings, namespace, identity))
