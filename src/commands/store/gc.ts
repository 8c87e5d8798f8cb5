import { Flags } from '@oclif/core';
import {
  confirmHasty,
  dryRunFlag,
  flagsOf,
  gcText,
  parseDuration,
  SgwCommand,
  timeoutFlag,
  yesFlag,
} from '../../core/cli/index.ts';

export default class StoreGc extends SgwCommand {
  static override summary = 'Free the space of what nothing needs any more.';
  static override description =
    'Follows all that is in use from every volume, snapshot and running export, and marks the rest. What is marked is ' +
    'removed by a later run, when the grace period is over and it is still in use by nothing; so run this regularly. ' +
    'Volumes stay in use while they are written. Poorly filled objects are rewritten. A store with damaged entries is left alone.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --dry-run',
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --grace 0 --yes --json',
  ];
  static override flags = flagsOf('store gc', {
    grace: Flags.custom<number>({
      description:
        'How long what is found unused is kept before it is removed. Below 1h this asks, or needs --yes: a slow writer of another gateway might still need it. [default: 24h]',
      helpValue: 'DURATION',
      parse: async (text) => parseDuration(text, '--grace'),
    })(),
    'dry-run': dryRunFlag,
    yes: yesFlag,
    timeout: timeoutFlag(),
  });

  async run(): Promise<void> {
    const { flags } = await this.parse(StoreGc);
    await using session = this.session(flags);
    const preview = flags['dry-run'];
    if (!preview) await confirmHasty(session, flags.yes, flags.grace);
    const input = { ...(flags.grace === undefined ? {} : { graceMs: flags.grace }), ...(preview ? { preview } : {}) };
    const result = await session.call('store.gc', input, {
      timeoutMs: flags.timeout,
      label: 'looking for what is unused',
    });
    await session.print(result, (style) => gcText(result, style));
    await session.next(preview ? 'sgw store gc' : 'sgw store stats');
  }
}
