import { flagsOf, referenceArgument, requireAny, SgwCommand } from '../../../core/cli/index.ts';
import { accountText, limitAccount, limitFlags, limitsIn } from '../../../core/cli/service/index.ts';

export default class ServiceAccountConfigure extends SgwCommand {
  static override summary = 'Limit what an account may have.';
  static override description =
    'For whoever runs the service. Nothing is taken away from an account that has more already: it makes no more, until it has ' +
    'less. What is asked for at the same moment, of several servers, may pass a limit by as much. An account has no limits until it is given some.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> research --max-volumes 50 --max-volume-bytes 10TiB --service https://sgw.example:8443',
    '<%= config.bin %> <%= command.id %> 000000000002 --max-snapshots none --json',
  ];
  static override args = { account: referenceArgument('account', 'Account: id or name.') };
  static override flags = flagsOf('service account configure', limitFlags);

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceAccountConfigure);
    requireAny(
      Object.fromEntries(Object.keys(limitFlags).map((name) => [`--${name}`, flags[name as keyof typeof flags]])),
    );
    await using session = this.session(flags);
    const account = await limitAccount(session, args.account, limitsIn(flags));
    await session.print(account, async (style, columns) => accountText(account, style, columns));
    await session.next(`sgw service account show ${account.accountId}`);
  }
}
