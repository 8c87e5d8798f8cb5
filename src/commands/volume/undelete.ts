import { referenceArgument, SgwCommand, volumeFields } from '../../core/cli/index.ts';

export default class VolumeUndelete extends SgwCommand {
  static override summary = 'Bring a deleted volume back.';
  static override description =
    'Works for seven days after `volume delete`, until `store gc` has purged the volume. `volume list --deleted` shows what can be brought back; of several with one name, give the id.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> build-17',
    '<%= config.bin %> <%= command.id %> vol-0123 --json',
  ];
  static override args = {
    volume: referenceArgument('volume', 'Deleted volume: id, beginning of an id (at least 4 digits), or name.'),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(VolumeUndelete);
    await using session = this.session(flags);
    const volume = await session.call('volume.undelete', { volume: args.volume });
    await session.print(volume, (style) => volumeFields(volume, style));
    await session.next(`sgw volume show ${volume.name}`);
  }
}
