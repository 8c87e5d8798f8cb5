import { Flags } from '@oclif/core';
import { flagsOf, readStoreFlags, SgwCommand, volumeTable } from '../../core/cli/index.ts';

export default class VolumeList extends SgwCommand {
  static override summary = 'List volumes.';
  static override description = 'DATA is what is mapped, before compression, shared with other volumes or not.';
  static override examples = ['<%= config.bin %> <%= command.id %>', '<%= config.bin %> <%= command.id %> --json'];
  static override flags = flagsOf('volume list', {
    ...readStoreFlags(),
    deleted: Flags.boolean({ description: 'Include deleted volumes that can be brought back with volume undelete.' }),
  });

  async run(): Promise<void> {
    const { flags } = await this.parse(VolumeList);
    await using session = this.readingSession(flags);
    const list = await session.call('volume.list', { deleted: flags.deleted });
    await session.print(list, async (style, columns) => volumeTable(list, style, columns));
    await session.next(
      list.volumes.length === 0
        ? 'sgw volume import FILE --name NAME'
        : `sgw volume show ${list.volumes[0]?.name ?? ''}`,
    );
  }
}
