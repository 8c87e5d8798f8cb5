import { Flags } from '@oclif/core';
import {
  checkChoice,
  COLORS,
  configurationFields,
  configure,
  directoryFlag,
  flagsOf,
  given,
  isSwitchedOn,
  memberFlags,
  memberWishes,
  modeFlag,
  nameFlag,
  OUTPUTS,
  servingFlags,
  servingWishes,
  SgwCommand,
  storeFlags,
  storeLocation,
  SWITCHES,
} from '../core/cli/index.ts';

export default class Configure extends SgwCommand {
  static override summary = 'Change settings of the gateway and preferences of the user.';
  static override description =
    'Changes what is given and shows everything. --default-home, --output and --color are preferences of the user, ' +
    'kept in SGW_CONFIG_DIR or the place of the platform; the rest are settings of the gateway.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --name lab-2',
    '<%= config.bin %> <%= command.id %> --store /mnt/backup/sgw',
    '<%= config.bin %> <%= command.id %> --remote-management off',
    '<%= config.bin %> <%= command.id %> --cache 20GiB --buffer 4GiB',
    '<%= config.bin %> <%= command.id %> --listen tcp:127.0.0.1:10809 --tls require --tls-certificate cert.pem --tls-key key.pem',
    '<%= config.bin %> <%= command.id %> --iscsi-listen tcp:192.0.2.10:3260 --iscsi-listen tcp:198.51.100.10:3260',
    '<%= config.bin %> <%= command.id %> --peer-listen 192.0.2.10:7070 --on-takeover /usr/local/sbin/move-address',
    '<%= config.bin %> <%= command.id %> --default-home /srv/sgw --output json',
    '<%= config.bin %> <%= command.id %> --keep-service --service https://sgw.example:8443 --service-fingerprint sha256:HEX --access-key-id ID',
  ];
  static override flags = flagsOf('configure', {
    name: nameFlag({ description: 'Name of the gateway.' }),
    mode: modeFlag({ description: 'Mode of the gateway; only while no volume is attached.' }),
    ...storeFlags('Directory or s3://BUCKET/PREFIX that the store of the gateway was moved to.'),
    ...servingFlags,
    ...memberFlags,
    'remote-management': Flags.custom<'on' | 'off'>({
      description: 'Whether the service that the gateway was activated at may operate it; only on the spot.',
      options: [...SWITCHES],
      parse: async (text) => checkChoice(text, SWITCHES, '--remote-management'),
    })(),
    'default-home': directoryFlag({ description: 'Home to use when neither --home nor SGW_HOME names one.' }),
    output: Flags.custom<(typeof OUTPUTS)[number]>({
      description: 'How results are printed when --json is not given.',
      options: [...OUTPUTS],
      parse: async (text) => checkChoice(text, OUTPUTS, '--output'),
    })(),
    color: Flags.custom<(typeof COLORS)[number]>({
      description: 'Whether terminals get colours.',
      options: [...COLORS],
      parse: async (text) => checkChoice(text, COLORS, '--color'),
    })(),
    'keep-service': Flags.boolean({
      description:
        'Keep the service and the access key that are given, for later commands; the secret is asked for, or SGW_SECRET_ACCESS_KEY.',
      exclusive: ['forget-service'],
    }),
    'forget-service': Flags.boolean({ description: 'Forget the service and the access key that were kept.' }),
  });

  async run(): Promise<void> {
    const { flags } = await this.parse(Configure);
    await using session = this.session(flags);
    const preferences = given({ defaultHome: flags['default-home'], output: flags.output, color: flags.color });
    const store = storeLocation(flags);
    const remoteManagement = isSwitchedOn(flags['remote-management']);
    const wishes = await servingWishes(flags, session.secretSurroundings);
    const document = await configure(
      session,
      { ...given({ name: flags.name, mode: flags.mode, store, remoteManagement }), ...memberWishes(flags), ...wishes },
      preferences,
      flags['keep-service'] ? 'keep' : flags['forget-service'] ? 'forget' : undefined,
    );
    await session.print(document, (style) => configurationFields(document, style));
    await session.next('sgw status');
  }
}
