import { nameArgument, referenceArgument, SgwCommand, volumeFields } from '../../core/cli/index.ts';

export default class VolumeRename extends SgwCommand {
  static override summary = 'Give a volume another name.';
  static override description = 'The id stays, and so do snapshots and clones.';
  static override examples = ['<%= config.bin %> <%= command.id %> golden golden-2026'];
  static override args = {
    volume: referenceArgument('volume', 'Volume: id, beginning of an id (at least 4 digits), or name.'),
    name: nameArgument('name', 'The new name.'),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(VolumeRename);
    await using session = this.session(flags);
    const volume = await session.call('volume.rename', { volume: args.volume, name: args.name });
    await session.print(volume, (style) => volumeFields(volume, style));
    await session.next('sgw volume list');
  }
}
