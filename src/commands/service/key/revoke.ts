import { Args } from '@oclif/core';
import { confirmDestruction, flagsOf, SgwCommand, yesFlag } from '../../../core/cli/index.ts';
import { revokeAccessKey, revokedKeyFields } from '../../../core/cli/service/index.ts';

export default class ServiceKeyRevoke extends SgwCommand {
  static override summary = 'Revoke an access key.';
  static override description =
    'Whatever is signed with the key is refused from then on, within two seconds by all servers of the service. For good. ' +
    'Asks on a terminal, and needs --yes elsewhere.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> AKIAABCDEFGHIJKLMNOP',
    '<%= config.bin %> <%= command.id %> AKIAABCDEFGHIJKLMNOP --yes --json',
  ];
  static override args = {
    key: Args.string({ required: true, description: 'Id of the access key.', ignoreStdin: true }),
  };
  static override flags = flagsOf('service key revoke', { yes: yesFlag });

  async run(): Promise<void> {
    const { args, flags } = await this.parse(ServiceKeyRevoke);
    await using session = this.session(flags);
    await confirmDestruction(session, flags.yes, {
      what: `revoke access key ${args.key}`,
      lookUp: async () => Promise.resolve('It can not be made good again.'),
    });
    const key = await revokeAccessKey(session, args.key);
    await session.print(key, (style) => revokedKeyFields(key, style));
    await session.next('sgw service key list');
  }
}
