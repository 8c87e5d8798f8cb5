import { Flags } from '@oclif/core';
import {
  activationFields,
  askActivation,
  createFlags,
  directoryFlag,
  flagsOf,
  modeFlag,
  nameFlag,
  SgwCommand,
} from '../core/cli/index.ts';

export default class Activate extends SgwCommand {
  static override summary = 'Make a home directory into a gateway.';
  static override description =
    'Activates a gateway against a service embedded in the same home directory, over an object store in a directory. ' +
    'On a terminal, what is not given is asked for; elsewhere the name is that of this host and the mode is cached.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> --name lab --mode cached',
    '<%= config.bin %> <%= command.id %> --name lab --store /mnt/backup/sgw',
  ];
  static override flags = flagsOf('activate', {
    name: nameFlag({ description: 'Name of the gateway. [default: the name of this host]' }),
    mode: modeFlag({ description: 'cached keeps data in the store, shadowing in local images. [default: cached]' }),
    store: directoryFlag({ description: 'Directory of the object store. [default: inside the home]' }),
    region: Flags.string({ description: 'Region that the gateway reports.', helpValue: 'REGION' }),
    'if-not-exists': createFlags['if-not-exists'],
  });

  async run(): Promise<void> {
    const { flags } = await this.parse(Activate);
    await using session = this.session(flags);
    const input = await askActivation(session, flags);
    const result = await session.call('activate', {
      ...input,
      ...(flags.region === undefined ? {} : { region: flags.region }),
      ifNotExists: flags['if-not-exists'],
    });
    await session.print(result, (style) => activationFields(result, style));
    await session.next('sgw volume import FILE --name NAME', 'sgw volume create NAME --size 10GiB');
  }
}
