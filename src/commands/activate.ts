import { Flags } from '@oclif/core';
import {
  activationFields,
  askActivation,
  createFlags,
  firstSecret,
  flagsOf,
  keepRecoveryCode,
  modeFlag,
  nameFlag,
  namesSecret,
  recoveryFileFlag,
  requireWith,
  SgwCommand,
  storeFlags,
  storeLocation,
  timeoutFlag,
  yesFlag,
} from '../core/cli/index.ts';
import { activateRemotely, isForService, isStoppedThere } from '../core/cli/service/index.ts';

export default class Activate extends SgwCommand {
  static override summary = 'Make a home directory into a gateway.';
  static override description =
    'Activates a gateway against a service embedded in the same home directory, over an object store in a directory or, with --store s3://BUCKET/PREFIX, in a bucket of AWS or of another server ' +
    '(--store-endpoint, --path-style). Its credentials are found where tools of AWS look for them, and are not kept. ' +
    'On a terminal, what is not given is asked for; elsewhere the name is that of this host and the mode is cached. ' +
    'With --encrypt all data, names and tags in a new store are sealed with a key that opens with your passphrase or key file ' +
    'only (--passphrase-file, --key-file, which is made if it does not exist, SGW_PASSPHRASE, or a question on a terminal), and a ' +
    'recovery code is shown once. A flag that names a file with a secret asks for --encrypt as well. Root and processes of the same user can see variables, so a file is better. ' +
    'With --service the gateway is activated at a service over the network: an activation key is shown here and on a page of this machine (--page), ' +
    'and whoever has an access key of the service claims the gateway with it. The same command goes on after any end. ' +
    'With --account it goes on only when it was claimed for that account; without, it asks on a terminal. Then --store is a store of your own, in place of that of the service.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --name lab --mode cached',
    '<%= config.bin %> <%= command.id %> --name lab --store /mnt/backup/sgw',
    '<%= config.bin %> <%= command.id %> --name lab --store s3://backup/lab --store-endpoint http://127.0.0.1:9000 --path-style',
    '<%= config.bin %> <%= command.id %> --name lab --encrypt --key-file /media/usb/sgw.key --recovery-file /media/usb/recovery.txt',
    '<%= config.bin %> <%= command.id %> --service https://sgw.example:8443 --service-fingerprint sha256:HEX --account 000000000002',
  ];
  static override flags = flagsOf('activate', {
    name: nameFlag({ description: 'Name of the gateway. [default: the name of this host]' }),
    mode: modeFlag({ description: 'cached keeps data in the store, shadowing in local images. [default: cached]' }),
    ...storeFlags('Directory of the object store, or s3://BUCKET/PREFIX. [default: inside the home]'),
    region: Flags.string({ description: 'Region that the gateway reports.', helpValue: 'REGION' }),
    encrypt: Flags.boolean({
      description: 'Seal everything in a new store, from its beginning, with a key that only you can open.',
    }),
    'recovery-file': recoveryFileFlag(),
    'if-not-exists': createFlags['if-not-exists'],
    page: Flags.string({
      description: 'Where this machine shows the activation key meanwhile, or off. [default: 127.0.0.1:8480]',
      helpValue: 'HOST:PORT',
    }),
    'no-wait': Flags.boolean({ description: 'Only get the activation key; the same command goes on later.' }),
    timeout: timeoutFlag({ description: 'Wait at most this long for the gateway to be claimed, then exit with 9.' }),
    yes: yesFlag,
  });

  async run(): Promise<void> {
    const { flags } = await this.parse(Activate);
    requireWith('--recovery-file', flags['recovery-file'], '--encrypt', flags.encrypt);
    await using session = this.session(flags);
    const surroundings = session.secretSurroundings;
    if (await isForService(session, flags.store)) {
      await activateRemotely(session, flags);
      return;
    }
    const input = await askActivation(session, { name: flags.name, mode: flags.mode, store: storeLocation(flags) });
    const wanted = {
      ...input,
      ...(flags.region === undefined ? {} : { region: flags.region }),
      // Nobody who gives a key wants to write in clear, into a store that says of itself that it is not encrypted.
      ...(flags.encrypt || namesSecret(session.secretFiles, session.env) ? { encrypt: true } : {}),
      ifNotExists: flags['if-not-exists'],
    };
    try {
      const { result, codeFile } = await keepRecoveryCode(flags['recovery-file'], surroundings.say, async () =>
        session.call('activate', wanted, { renew: firstSecret(session.secretFiles, surroundings) }),
      );
      await session.print(result, (style) => activationFields(result, style, codeFile));
    } catch (error) {
      if (!isStoppedThere(error)) throw error;
      await activateRemotely(session, flags);
      return;
    }
    await session.next('sgw volume import FILE --name NAME', 'sgw volume create NAME --size 10GiB');
  }
}
