import { Flags } from '@oclif/core';
import { extentTable, flagsOf, mapPicture, referenceArgument, SgwCommand } from '../../core/cli/index.ts';

export default class VolumeMap extends SgwCommand {
  static override summary = 'Draw where the data of a volume is.';
  static override description =
    'Draws the volume from left to right and top to bottom: what is stored, how densely, and whether a snapshot shares it. ' +
    '--extents lists the extents instead; --json has them all.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> golden',
    '<%= config.bin %> <%= command.id %> golden --extents',
    '<%= config.bin %> <%= command.id %> golden --json',
  ];
  static override args = {
    volume: referenceArgument('volume', 'Volume: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('volume map', {
    extents: Flags.boolean({ description: 'List extents, in bytes, instead of drawing.' }),
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(VolumeMap);
    await using session = this.session(flags);
    const map = await session.call('volume.map', { volume: args.volume });
    await session.print(map, (style, columns) =>
      flags.extents ? extentTable(map.extents, style, columns, Number.POSITIVE_INFINITY) : mapPicture(map, style),
    );
    await session.next(`sgw volume verify ${map.name}`);
  }
}
