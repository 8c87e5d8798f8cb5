import { Flags } from '@oclif/core';
import {
  ackFlag,
  attachedText,
  exportNameFlag,
  flagsOf,
  gatewayPath,
  given,
  iscsiFlags,
  iscsiWishes,
  pathFlag,
  referenceArgument,
  SgwCommand,
  startFlag,
} from '../../core/cli/index.ts';

export default class VolumeAttach extends SgwCommand {
  static override summary = 'Serve a volume, or a snapshot, over NBD or iSCSI.';
  static override description =
    'Serves a volume under its name until it is detached, also after a restart. A snapshot is served read-only, or, with ' +
    '--scratch, as a throw-away clone that can be written and is deleted when it is detached. A gateway in mode shadowing ' +
    'serves a local image in place (--image): it can be used at once, and is followed in the store. Over iSCSI it is ' +
    'a target of its own; --chap and --initiator say who may log in. It needs a running gateway.';
  static override examples = [
    '<%= config.bin %> <%= command.id %> db',
    '<%= config.bin %> <%= command.id %> db --ack store --export-name disk0',
    '<%= config.bin %> <%= command.id %> v1 --scratch',
    '<%= config.bin %> <%= command.id %> db --protocol nbd,iscsi --chap db-host --chap-secret-file secret.txt',
    '<%= config.bin %> <%= command.id %> db --image /srv/images/db.img',
  ];
  static override args = {
    volume: referenceArgument('volume', 'Volume, or snapshot: id, beginning of an id (at least 4 digits), or name.'),
  };
  static override flags = {
    ...flagsOf('volume attach', {
      'export-name': exportNameFlag(),
      'read-only': Flags.boolean({ description: 'Let clients only read.' }),
      scratch: Flags.boolean({ description: 'Serve a throw-away clone of a snapshot.' }),
      image: pathFlag({
        description: 'Shadow this image, a raw file or block device, in place. Creates the volume if there is none.',
        helpValue: 'FILE',
      }),
      ack: ackFlag(),
      'take-over': Flags.boolean({
        description:
          'Attach it also when another gateway holds it: that one is fenced, and keeps what it has not uploaded.',
      }),
      'recovery-point': Flags.string({
        description: 'Serve the volume as it was at this time, read-only or with --scratch.',
        helpValue: 'TIME',
      }),
      'if-not-exists': Flags.boolean({ description: 'If it is attached in the same way, return that and succeed.' }),
      ...iscsiFlags,
    }),
    start: startFlag('volume attach'),
  };

  async run(): Promise<void> {
    const { args, flags } = await this.parse(VolumeAttach);
    await using session = this.session(flags);
    const input = {
      volume: args.volume,
      readOnly: flags['read-only'],
      scratch: flags.scratch,
      takeOver: flags['take-over'],
      ifNotExists: flags['if-not-exists'],
      ...(await iscsiWishes(flags, session.secretSurroundings)),
      ...given({
        exportName: flags['export-name'],
        ack: flags.ack,
        recoveryPoint: flags['recovery-point'],
        image: flags.image === undefined ? undefined : gatewayPath(flags.image),
      }),
    };
    const attached = await session.call('volume.attach', input, { startsGateway: flags.start });
    await session.print(attached, (style) => attachedText(attached, style));
    await session.next('sgw status', `sgw volume detach ${attached.exportName}`);
  }
}
