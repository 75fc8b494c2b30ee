package firmware

// Intel is the family of Intel's modules, the one with all functions. Its
// first revision has functions 1 to 10, its second all (Linux intel.c,
// nfit_dsm_revid); here both have all.
//
// Functions 7 to 9 and 11 are left out: the vendor's effect log and commands,
// which Linux never calls or ndctl has no use for.
var Intel = &Family{
	Name: "intel", UUID: "4309ac30-0d11-11e4-9191-0800200c9a66", Number: NumberIntel, Revisions: 2,
	Functions: []Function{
		{1, "smart", "", "DSM, function 1; ndctl.h ND_CMD_SMART", intelSMART},
		{2, "smart_thresh", "smart_threshold", "DSM, function 2; ndctl.h ND_CMD_SMART_THRESHOLD", intelThresholds},
		{3, "flags", "", "DSM, function 3; ndctl.h ND_CMD_DIMM_FLAGS", intelFlags},
		{4, "label_size", "get_size", "DSM, function 4; ndctl.h ND_CMD_GET_CONFIG_SIZE", nil},
		{5, "get_label", "get_data", "DSM, function 5; ndctl.h ND_CMD_GET_CONFIG_DATA", nil},
		{6, "set_label", "set_data", "DSM, function 6; ndctl.h ND_CMD_SET_CONFIG_DATA", nil},
		{10, "latch_shutdown", "enable_lss_status", "DSM, function 10; Linux intel.h NVDIMM_INTEL_LATCH_SHUTDOWN", intelLatch},
		{12, "fw_get_info", "fw_info", "ndctl intel.h ND_INTEL_FW_GET_INFO", intelUpdateInfo},
		{13, "fw_start_update", "fw_start", "ndctl intel.h ND_INTEL_FW_START_UPDATE", intelUpdateStart},
		{14, "fw_send_data", "fw_send", "ndctl intel.h ND_INTEL_FW_SEND_DATA", intelUpdateSend},
		{15, "fw_finish_update", "fw_finish", "ndctl intel.h ND_INTEL_FW_FINISH_UPDATE", intelUpdateFinish},
		{16, "fw_finish_query", "fw_fquery", "ndctl intel.h ND_INTEL_FW_FINISH_STATUS_QUERY", intelUpdateQuery},
		{17, "smart_set_threshold", "set_threshold", "DSM, function 17; ndctl intel.h ND_INTEL_SMART_SET_THRESHOLD", intelSetThresholds},
		{18, "inject_smart", "smart_inject", "DSM, function 18; ndctl intel.h ND_INTEL_SMART_INJECT", intelInject},
		{19, "get_security", "get_security_state", "Linux intel.h NVDIMM_INTEL_GET_SECURITY_STATE", intelSecurityState},
		{20, "set_passphrase", "", "Linux intel.h NVDIMM_INTEL_SET_PASSPHRASE", intelSetPassphrase},
		{21, "disable_passphrase", "", "Linux intel.h NVDIMM_INTEL_DISABLE_PASSPHRASE", intelDisablePassphrase},
		{22, "unlock", "unlock_unit", "Linux intel.h NVDIMM_INTEL_UNLOCK_UNIT", intelUnlock},
		{23, "freeze", "freeze_lock", "Linux intel.h NVDIMM_INTEL_FREEZE_LOCK", intelFreeze},
		{24, "secure_erase", "", "Linux intel.h NVDIMM_INTEL_SECURE_ERASE", intelErase},
		{25, "overwrite", "", "Linux intel.h NVDIMM_INTEL_OVERWRITE", intelOverwrite},
		{26, "query_overwrite", "", "Linux intel.h NVDIMM_INTEL_QUERY_OVERWRITE", intelQueryOverwrite},
		{27, "set_master_passphrase", "", "Linux intel.h NVDIMM_INTEL_SET_MASTER_PASSPHRASE", intelSetMasterPassphrase},
		{28, "master_secure_erase", "master_erase", "Linux intel.h NVDIMM_INTEL_MASTER_SECURE_ERASE", intelMasterErase},
		{29, "fw_activate_info", "", "Linux intel.h NVDIMM_INTEL_FW_ACTIVATE_INFO", intelActivateInfo},
		{30, "fw_activate_arm", "", "Linux intel.h NVDIMM_INTEL_FW_ACTIVATE_ARM", intelActivateArm},
	},
}
