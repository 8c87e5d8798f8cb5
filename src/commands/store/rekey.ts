import { Flags } from '@oclif/core';
import {
  flagsOf,
  keepRecoveryCode,
  newSecret,
  pathFlag,
  recoveryFileFlag,
  rekeyText,
  requireWith,
  SgwCommand,
} from '../../core/cli/index.ts';

export default class StoreRekey extends SgwCommand {
  static override summary = 'Change the passphrase or key file of an encrypted store.';
  static override description =
    'Opens the key of the store as any command does (--key-file, --passphrase-file, --recovery-code-file, SGW_PASSPHRASE, or ' +
    'a question on a terminal) and closes it with the new secret, which replaces the old passphrase or key file. Only the ' +
    'small key object is written anew; no data is. SGW_NEW_PASSPHRASE can hold the new passphrase; root and processes of ' +
    'the same user can see variables, so a file is better.';
  static override examples = [
    '<%= config.bin %> <%= command.id %>',
    '<%= config.bin %> <%= command.id %> --passphrase-file old.txt --new-key-file /media/usb/sgw.key',
    '<%= config.bin %> <%= command.id %> --recovery-kit --recovery-file /media/usb/recovery.txt',
  ];
  static override flags = flagsOf('store rekey', {
    'new-key-file': pathFlag({ description: 'Key file to open the store from now on; made if it does not exist.' }),
    'new-passphrase-file': pathFlag({ description: 'File with the passphrase to open the store from now on.' }),
    'recovery-kit': Flags.boolean({
      description:
        'Make a new recovery code, which voids the one before. With no new secret given, passphrase or key file stay.',
    }),
    'recovery-file': recoveryFileFlag(),
  });

  async run(): Promise<void> {
    const { flags } = await this.parse(StoreRekey);
    requireWith('--recovery-file', flags['recovery-file'], '--recovery-kit', flags['recovery-kit']);
    await using session = this.session(flags);
    const files = { keyFile: flags['new-key-file'], passphraseFile: flags['new-passphrase-file'] };
    const surroundings = session.secretSurroundings;
    const renew = newSecret(files, surroundings, flags['recovery-kit']);
    const { result, codeFile } = await keepRecoveryCode(flags['recovery-file'], surroundings.say, async () =>
      session.call('store.rekey', { recoveryKit: flags['recovery-kit'] }, { renew }),
    );
    await session.print(result, (style) => rekeyText(result, style, codeFile));
    await session.next('sgw status');
  }
}
