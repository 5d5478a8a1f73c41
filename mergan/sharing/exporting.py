"""Write a trained generator for other programs and people, with its model card."""

from __future__ import annotations

from pathlib import Path

from mergan import config
from mergan.output.places import check_output
from mergan.run.generator import checkpoint_of
from mergan.sharing.formats import format_of
from mergan.system.errors import ConfigError
from mergan.system.text import shown


def export(run: Path, settings: config.ExportConfig) -> None:
    """Write the generator of a run to `settings.out`, in the format of its suffix, with a model card.

    The file is run at two batch sizes and compared with the generator before it is put in its place.

    Args:
        run: a run folder, a checkpoint, or a .safetensors file that this command has written.
        settings: the keys of conf/export.yaml.

    Raises:
        ConfigError: the suffix is unknown, a package is missing, a file must not be written there, or the
            format cannot hold this generator.
        CheckpointError: the checkpoint cannot be read, or names a class that is not trusted.
    """
    form = format_of(Path(settings.out))
    out = check_output(Path(settings.out), settings.overwrite)
    card = check_output(out.with_suffix(".md"), settings.overwrite, key=f"out={out.name}, its model card")
    form.check_installed()
    path = checkpoint_of(run.expanduser())
    if not config.is_file(str(path)):
        raise ConfigError(f"{run}: there is no such run folder or checkpoint")
    from mergan.checkpoints.trust import of_command
    from mergan.run.describing import describe
    from mergan.run.trained import load_generator
    from mergan.sharing import checking
    from mergan.sharing.card import model_card
    from mergan.system.files import replacing, write_text

    generator = load_generator(path, of_command({}, [config.CONF], settings.trust)).cpu()
    description = describe(generator, path)
    new = not settings.overwrite
    with replacing(out, new) as file:
        form.write(generator, description, file)
        difference = checking.check(form, file, generator, out)
        depends = checking.depends_on_batch(generator)
        write_text(card, model_card(description, form, out, depends), new)
    sizes = " and ".join(map(str, checking.SIZES))
    print(f"run with batches of {sizes}: it differs from mergan's own images by at most {difference:.1g}")
    what = f"generator of {len(generator.seen)} classes"
    print(f"{what} written to {shown(str(out))}, its card to {shown(str(card))}")
