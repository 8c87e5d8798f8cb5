import { confirmDestruction, deactivationFields, flagsOf, SgwCommand, yesFlag } from '../core/cli/index.ts';

export default class Deactivate extends SgwCommand {
  static override summary = 'Make the home no gateway any more.';
  static override description =
    'Takes the identity and the credential from the home; the store with all volumes and snapshots stays as it is. ' +
    '`activate` with the same --store makes a new gateway over it. Asks on a terminal, and needs --yes elsewhere.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --home /srv/old --yes --json',
  ];
  static override flags = flagsOf('deactivate', { yes: yesFlag });

  async run(): Promise<void> {
    const { flags } = await this.parse(Deactivate);
    await using session = this.session(flags);
    await confirmDestruction(session, flags.yes, {
      what: `deactivate the gateway in ${session.home}`,
      lookUp: async () => {
        const { store } = await session.call('status', {});
        return store === null ? '' : `The store ${store.description} stays.`;
      },
    });
    const result = await session.call('deactivate', {});
    await session.print(result, (style) => deactivationFields(result, style));
    await session.next('sgw activate');
  }
}
