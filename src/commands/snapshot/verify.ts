import {
  flagsOf,
  readStoreFlags,
  referenceArgument,
  SgwCommand,
  timeoutFlag,
  verifyFields,
} from '../../core/cli/index.ts';

export default class SnapshotVerify extends SgwCommand {
  static override summary = 'Read back all data of a snapshot and check it.';
  static override description =
    'Reads every object that the snapshot needs from the store and checks every checksum. Damage exits with code 7 and names what it hurts.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> v1',
    '<%= config.bin %> <%= command.id %> v1 --timeout 10m --json',
  ];
  static override args = {
    snapshot: referenceArgument('snapshot', 'Snapshot: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('snapshot verify', { ...readStoreFlags(), timeout: timeoutFlag() });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(SnapshotVerify);
    await using session = this.readingSession(flags);
    const result = await session.call('snapshot.verify', { snapshot: args.snapshot }, { timeoutMs: flags.timeout });
    await session.print(result, (style) => verifyFields(result, style));
    await session.next(`sgw snapshot show ${result.name}`);
  }
}
