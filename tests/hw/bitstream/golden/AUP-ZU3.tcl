# AUP-ZU3 at 300 MHz.
set part xczu3eg-sfvc784-2-e
set shell fireflow_shell
set clock_mhz 300.000000
set clock_name clk_pl_0
set control_base 0xA0000000
set control_range 0x00020000
set memory_range 0x80000000
set memory_segment SAXIGP2/HP0_DDR_LOW
set ps_ip xilinx.com:ip:zynq_ultra_ps_e
set ps_clock pl_clk0
set ps_clock_property CONFIG.PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ
set ps_reset pl_resetn0
set ps_master M_AXI_HPM0_FPD
set ps_master_clock maxihpm0_fpd_aclk
set ps_slave S_AXI_HP0_FPD
set ps_slave_clock saxihp0_fpd_aclk
set ps_config {
    CONFIG.PSU__PSS_REF_CLK__FREQMHZ {33.333}
    CONFIG.PSU__FPGA_PL0_ENABLE {1}
    CONFIG.PSU__CRL_APB__PL0_REF_CTRL__SRCSEL {IOPLL}
    CONFIG.PSU__USE__FABRIC__RST {1}
    CONFIG.PSU__USE__M_AXI_GP0 {1}
    CONFIG.PSU__MAXIGP0__DATA_WIDTH {128}
    CONFIG.PSU__USE__M_AXI_GP1 {0}
    CONFIG.PSU__USE__M_AXI_GP2 {0}
    CONFIG.PSU__USE__S_AXI_GP2 {1}
    CONFIG.PSU__SAXIGP2__DATA_WIDTH {128}
    CONFIG.PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ {300.000000}
}
set ps_external {
}
set sources {
    shell/shell_pkg.sv
    accelerator.sv
    fireflow/stream_fifo.sv
    shell/byte_gearbox.sv
    shell/axi_lite.sv
    shell/dma_control.sv
    shell/dma_read.sv
    shell/dma_write.sv
    shell/frame_tags.sv
    shell/shell.sv
    fireflow_shell.v
}
