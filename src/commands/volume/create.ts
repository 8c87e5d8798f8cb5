import { Args, Flags } from '@oclif/core';
import {
  askNewVolume,
  attachedText,
  checkName,
  checkReference,
  createFlags,
  flagsOf,
  firstIscsiFlag,
  given,
  iscsiFlags,
  iscsiWishes,
  parseTags,
  referenceFlag,
  requireWith,
  SgwCommand,
  sizeFlag,
  tagFlag,
  volumeFields,
} from '../../core/cli/index.ts';

export default class VolumeCreate extends SgwCommand {
  static override summary = 'Create an empty volume, or a clone of a snapshot.';
  static override description =
    'An empty volume takes no space until it is written. A clone is there at once, whatever its size, and shares its data with the snapshot.';
  static override usage = '<%= command.id %> NAME (--size SIZE | --from-snapshot SNAPSHOT)';
  static override examples = [
    '<%= config.bin %> <%= command.id %> db --size 100GiB --tag env=test',
    '<%= config.bin %> <%= command.id %> build-17 --from-snapshot v1 --attach',
    '<%= config.bin %> <%= command.id %> build-17 --from-snapshot v1 --if-not-exists --json',
  ];
  static override args = {
    name: Args.string({
      description: 'Name of the new volume.',
      ignoreStdin: true,
      parse: async (text) => checkName(text, 'name'),
    }),
  };
  static override flags = flagsOf('volume create', {
    size: sizeFlag({
      description: 'Size, such as 10GiB (2^30) or 10GB (10^9); with --from-snapshot at least that of the snapshot.',
    }),
    'from-snapshot': referenceFlag({
      description: 'Snapshot to clone: id, beginning of an id (at least 4 digits), or name.',
      helpValue: 'SNAPSHOT',
    }),
    'from-volume': Flags.string({
      description: 'Volume to clone, as it is, or with @TIME as it was then: sgw recovery-point list.',
      helpValue: 'VOLUME[@TIME]',
      exclusive: ['from-snapshot'],
      parse: async (text) => checkReference(text, '--from-volume'),
    }),
    tag: tagFlag(),
    attach: Flags.boolean({ description: 'Attach it as well, as sgw volume attach does.' }),
    ...iscsiFlags,
    ...createFlags,
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(VolumeCreate);
    await using session = this.session(flags);
    const tags = parseTags(flags.tag ?? []);
    const alone = firstIscsiFlag(flags);
    requireWith(`--${alone ?? ''}`, alone, '--attach', flags.attach);
    const how = await iscsiWishes(flags, session.secretSurroundings);
    const input = await askNewVolume(session, {
      name: args.name,
      sizeBytes: flags.size,
      fromSnapshot: flags['from-snapshot'],
      fromVolume: flags['from-volume'],
    });
    const volume = await session.call('volume.create', {
      ...input,
      tags,
      ifNotExists: flags['if-not-exists'],
      ...given({ clientToken: flags['client-token'] }),
    });
    if (!flags.attach) {
      await session.print(volume, (style) => volumeFields(volume, style));
      await session.next(`sgw volume attach ${volume.name}`, `sgw volume show ${volume.name}`);
      return;
    }
    const attached = await session.call('volume.attach', { volume: volume.volumeId, ifNotExists: true, ...how });
    await session.print({ ...volume, attachment: attached }, (style) => attachedText(attached, style));
    await session.next('sgw status', `sgw volume detach ${attached.exportName}`);
  }
}
