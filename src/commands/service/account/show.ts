import { optionalReference, SgwCommand } from '../../../core/cli/index.ts';
import { accountText, showAccount } from '../../../core/cli/service/index.ts';

export default class ServiceAccountShow extends SgwCommand {
  static override summary = 'Show what an account has, and may have at most.';
  static override description =
    'Counts the volumes, snapshots, gateways and access keys of an account at a service, beside its limits. Without ACCOUNT, of ' +
    'the account of the access key. What gateways keep in stores of their own is not counted.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --service https://sgw.example:8443',
    '<%= config.bin %> <%= command.id %> research --json',
  ];
  static override args = {
    account: optionalReference('account', 'Account: id or, for whoever runs the service, name.'),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceAccountShow);
    await using session = this.session(flags);
    const account = await showAccount(session, args.account);
    await session.print(account, async (style, columns) => accountText(account, style, columns));
  }
}
