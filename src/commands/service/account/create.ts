import {
  accountFields,
  accountFlag,
  createFlags,
  flagsOf,
  given,
  nameArgument,
  SgwCommand,
} from '../../../core/cli/index.ts';
import { createRemoteAccount } from '../../../core/cli/service/index.ts';

export default class ServiceAccountCreate extends SgwCommand {
  static override summary = 'Create an account.';
  static override description =
    'An account owns volumes and snapshots, and is recorded as the creator of the blocks that are written with --account. ' +
    'Another account sees a snapshot only when it is shared. With --service the account is made at that service, by whoever runs it; without, in the store of this gateway.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> research',
    '<%= config.bin %> <%= command.id %> research --id 000000000002 --if-not-exists --json',
  ];
  static override args = { name: nameArgument('name', 'Name of the new account.') };
  static override flags = flagsOf('service account create', {
    id: accountFlag({
      description: 'Id of the account, 12 digits. [default: the service chooses]',
      helpValue: 'DIGITS',
    }),
    ...createFlags,
  });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceAccountCreate);
    await using session = this.session(flags);
    const input = {
      name: args.name,
      ifNotExists: flags['if-not-exists'],
      ...given({ accountId: flags.id, clientToken: flags['client-token'] }),
    };
    const account =
      session.serviceUrl === undefined
        ? await session.call('service.account.create', input)
        : await createRemoteAccount(session, input);
    await session.print(account, (style) => accountFields(account, style));
    await session.next(
      `sgw volume import FILE --name NAME --account ${account.accountId}`,
      `sgw snapshot share SNAPSHOT --with ${account.accountId}`,
    );
  }
}
