import { Args, Flags } from '@oclif/core';
import {
  checkPath,
  copyUnlessHeld,
  flagsOf,
  placeFlags,
  placeOf,
  SgwCommand,
  storeCopyText,
  timeoutFlag,
} from '../../core/cli/index.ts';

export default class StoreCopy extends SgwCommand {
  static override summary = 'Copy a whole store to another place.';
  static override description =
    'Copies between directories and buckets, either way; no gateway or home is needed, nor a key, but to see which volumes ' +
    'of an encrypted store are open; nothing is written to FROM. ' +
    'Each object is checked on its way, and the copy becomes a store with the last step. A copy that was interrupted goes ' +
    'on when the same command is run again. TO is empty, or such a copy. Gateways may go on writing meanwhile: with ' +
    '--prepare all that is there is copied, and a later run, once they have stopped, copies what changed. Then point each ' +
    'gateway to the new place with sgw configure --store.';
  static override usage = '<%= command.id %> FROM TO';
  static override examples = [
    '<%= config.bin %> <%= command.id %> /srv/sgw/store s3://backup/lab --to-region eu-central-1',
    '<%= config.bin %> <%= command.id %> /srv/sgw/store s3://backup/lab --prepare',
    '<%= config.bin %> <%= command.id %> s3://backup/lab /mnt/disk/store --from-endpoint https://s3.lan:9000 --from-path-style',
    '<%= config.bin %> <%= command.id %> /srv/sgw/store s3://backup/lab --verify-only --json',
  ];
  static override args = {
    origin: Args.string({
      required: true,
      description: 'FROM: directory of the store, or s3://BUCKET/PREFIX.',
      ignoreStdin: true,
      parse: async (text) => checkPath(text, 'FROM'),
    }),
    target: Args.string({
      required: true,
      description: 'TO: an empty or new directory, or s3://BUCKET/PREFIX.',
      ignoreStdin: true,
      parse: async (text) => checkPath(text, 'TO'),
    }),
  };
  static override flags = flagsOf('store copy', {
    ...placeFlags('from', 'FROM'),
    ...placeFlags('to', 'TO'),
    prepare: Flags.boolean({ description: 'Copy what is there, and leave the copy unfinished for a later run.' }),
    'verify-only': Flags.boolean({
      description: 'Read a finished copy whole, and compare it with FROM; change nothing.',
    }),
    yes: Flags.boolean({
      char: 'y',
      description: 'Copy also while gateways have volumes open: what is in the store at that moment.',
    }),
    timeout: timeoutFlag(),
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(StoreCopy);
    const from = placeOf(args.origin, 'from', flags);
    const to = placeOf(args.target, 'to', flags);
    await using session = this.storeSession(flags, from);
    const { prepare, 'verify-only': verifyOnly, yes, timeout } = flags;
    const result = await copyUnlessHeld(session, { from, to, prepare, verifyOnly, allowHeld: yes }, timeout);
    await session.print(result, (style) => storeCopyText(result, style));
    if (result.damage.length > 0) session.endAs('corrupt');
  }
}
