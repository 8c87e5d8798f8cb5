import { flagsOf, readStoreFlags, referenceArgument, SgwCommand, volumeDetails } from '../../core/cli/index.ts';

export default class VolumeShow extends SgwCommand {
  static override summary = 'Show a volume.';
  static override description =
    'Shows sizes, the newest commit, who holds the volume, its snapshots, and an unfinished import.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> golden',
    '<%= config.bin %> <%= command.id %> vol-0123 --json',
  ];
  static override args = {
    volume: referenceArgument('volume', 'Volume: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('volume show', { ...readStoreFlags() });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(VolumeShow);
    await using session = this.readingSession(flags);
    const volume = await session.call('volume.show', { volume: args.volume });
    await session.print(volume, (style) => volumeDetails(volume, style));
    await session.next(`sgw volume map ${volume.name}`, `sgw snapshot create ${volume.name}`);
  }
}
