import { Flags } from '@oclif/core';
import { flagsOf, scrubText, SgwCommand, timeoutFlag } from '../../core/cli/index.ts';

export default class StoreScrub extends SgwCommand {
  static override summary = 'Read back everything in the store and check it.';
  static override description =
    'Reads every object whole, checks every checksum, and looks for what is missing or older than what this gateway has ' +
    'seen before. Damage exits with code 7 and names each object and the volumes, snapshots and extents that it hurts; ' +
    'nothing is changed. --json lists all of it in error.details.damage.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --timeout 2h --json',
    '<%= config.bin %> <%= command.id %> --accept-older',
  ];
  static override flags = flagsOf('store scrub', {
    'accept-older': Flags.boolean({
      description: 'Take the store as it is for the newest from now on: for one that was put back from a copy.',
    }),
    timeout: timeoutFlag(),
  });

  async run(): Promise<void> {
    const { flags } = await this.parse(StoreScrub);
    await using session = this.session(flags);
    const result = await session.call(
      'store.scrub',
      { acceptOlder: flags['accept-older'] },
      { timeoutMs: flags.timeout },
    );
    await session.print(result, (style) => scrubText(result, style));
    await session.next('sgw store stats');
  }
}
