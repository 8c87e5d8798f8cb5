import { nameArgument, SgwCommand } from '../../../core/cli/index.ts';
import { createAccessKey, createdKeyFields } from '../../../core/cli/service/index.ts';

export default class ServiceKeyCreate extends SgwCommand {
  static override summary = 'Create an access key.';
  static override description =
    'Makes an access key for a user of the account of the key that asks, or, for whoever runs the service, of --account. ' +
    'The secret is printed once and kept nowhere else.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> backup-script --service https://sgw.example:8443',
    '<%= config.bin %> <%= command.id %> admin --account 000000000002 --json',
  ];
  static override args = { user: nameArgument('user', 'Name of the user, to tell keys apart.') };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceKeyCreate);
    await using session = this.session(flags);
    const key = await createAccessKey(session, args.user);
    await session.print(key, (style) => createdKeyFields(key, style));
    await session.next('sgw configure --keep-service --access-key-id ID');
  }
}
