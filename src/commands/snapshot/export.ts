import { Args, Flags } from '@oclif/core';
import {
  askExport,
  checkPath,
  checkReference,
  exportFields,
  flagsOf,
  formatFlag,
  formatOfPath,
  given,
  readStoreFlags,
  SgwCommand,
  timeoutFlag,
} from '../../core/cli/index.ts';

export default class SnapshotExport extends SgwCommand {
  static override summary = 'Write a snapshot to an image file.';
  static override description =
    'Writes raw natively and sparsely, other formats through qemu-img, under a temporary name until all is written and verified. ' +
    'An export that was interrupted goes on when the same command is run again. An existing file is kept unless --force is given.';
  static override usage = '<%= command.id %> SNAPSHOT OUT [--format FORMAT]';
  static override examples = [
    '<%= config.bin %> <%= command.id %> v1 golden.img',
    '<%= config.bin %> <%= command.id %> failed-17 failed-17.qcow2',
    '<%= config.bin %> <%= command.id %> v1 golden.img --store s3://backup/lab --store-region eu-central-1',
  ];
  static override args = {
    snapshot: Args.string({
      description: 'Snapshot: id, beginning of an id (at least 4 digits), or name.',
      ignoreStdin: true,
      parse: async (text) => checkReference(text, 'snapshot'),
    }),
    out: Args.string({
      description: 'File to write; .qcow2, .vmdk, .vhdx and .vdi choose the format.',
      ignoreStdin: true,
      parse: async (text) => checkPath(text, 'OUT'),
    }),
  };
  static override flags = flagsOf('snapshot export', {
    ...readStoreFlags(),
    format: formatFlag({ description: 'Format to write. [default: by the suffix of OUT, else raw]' }),
    force: Flags.boolean({ description: 'Replace an existing file.' }),
    timeout: timeoutFlag(),
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(SnapshotExport);
    await using session = this.readingSession(flags);
    const target = await askExport(session, { ...args, force: flags.force });
    const input = { ...target, force: flags.force, ...given({ format: flags.format ?? formatOfPath(target.path) }) };
    const result = await session.call('snapshot.export', input, { timeoutMs: flags.timeout });
    await session.print(result, (style) => exportFields(result, style));
    await session.next(`sgw snapshot show ${result.name}`);
  }
}
