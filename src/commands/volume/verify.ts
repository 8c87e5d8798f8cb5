import { flagsOf, referenceArgument, SgwCommand, timeoutFlag, verifyFields } from '../../core/cli/index.ts';

export default class VolumeVerify extends SgwCommand {
  static override summary = 'Read back all data of a volume and check it.';
  static override description =
    'Reads every object that the volume needs from the store and checks every checksum. Damage exits with code 7 and names what it hurts.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> golden',
    '<%= config.bin %> <%= command.id %> golden --timeout 10m --json',
  ];
  static override args = {
    volume: referenceArgument('volume', 'Volume: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = flagsOf('volume verify', { timeout: timeoutFlag() });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(VolumeVerify);
    await using session = this.session(flags);
    const result = await session.call('volume.verify', { volume: args.volume }, { timeoutMs: flags.timeout });
    await session.print(result, (style) => verifyFields(result, style));
    await session.next(`sgw volume show ${result.name}`);
  }
}
