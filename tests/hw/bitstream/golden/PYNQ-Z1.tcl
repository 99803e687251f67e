# PYNQ-Z1 at 100 MHz.
set part xc7z020clg400-1
set shell fireflow_shell
set clock_mhz 100.000000
set clock_name clk_fpga_0
set control_base 0x40000000
set control_range 0x00020000
set memory_range 0x20000000
set memory_segment S_AXI_HP0/HP0_DDR_LOWOCM
set ps_ip xilinx.com:ip:processing_system7
set ps_clock FCLK_CLK0
set ps_clock_property CONFIG.PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ
set ps_reset FCLK_RESET0_N
set ps_master M_AXI_GP0
set ps_master_clock M_AXI_GP0_ACLK
set ps_slave S_AXI_HP0
set ps_slave_clock S_AXI_HP0_ACLK
set ps_config {
    CONFIG.PCW_CRYSTAL_PERIPHERAL_FREQMHZ {50}
    CONFIG.PCW_APU_PERIPHERAL_FREQMHZ {650}
    CONFIG.PCW_FPGA_FCLK0_ENABLE {1}
    CONFIG.PCW_FCLK0_PERIPHERAL_CLKSRC {IO PLL}
    CONFIG.PCW_EN_CLK0_PORT {1}
    CONFIG.PCW_EN_RST0_PORT {1}
    CONFIG.PCW_USE_M_AXI_GP0 {1}
    CONFIG.PCW_USE_S_AXI_HP0 {1}
    CONFIG.PCW_S_AXI_HP0_DATA_WIDTH {64}
    CONFIG.PCW_FPGA0_PERIPHERAL_FREQMHZ {100.000000}
}
set ps_external {
    DDR xilinx.com:interface:ddrx_rtl:1.0
    FIXED_IO xilinx.com:display_processing_system7:fixedio_rtl:1.0
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
    shell/axi3_lite.sv
    fireflow_shell.v
}
